"""A whole network from one seed: production relays, validators and hosts on simulated ledgers, with faults by schedule.

Same seed, same trace. Faults: messages lost, delayed, doubled and late; f validators bad, as signers and as holders of
the key; relays, hosts and validators killed at persisted steps and between them; nodes down or behind; reorganisations
within the finality depth; pools dropped; skewed process clocks; blocks missing for a while; runners that die;
publishers who tell only some, or somebody wrong; consumers whose requests are late, repeated or unsound. After
`Plan.calm_at` the faults stop, and everything must reach its end.
"""

from caimi.apps.simulation.plan import Plan, Result
from caimi.apps.simulation.run import Simulation, simulate

__all__ = ["Plan", "Result", "Simulation", "simulate"]
