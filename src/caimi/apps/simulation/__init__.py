"""A whole network from one seed: production relays, validators and hosts on simulated ledgers, with faults by schedule.

Same seed, same trace. Faults: messages lost, delayed, doubled and late; f validators bad, as signers and as holders of
the key; relays, hosts and validators killed at persisted steps and between them; nodes down, behind, or lying to
relays; reorganisations within the finality depth and below it; pools dropped, no blocks, little room in them;
registries paused; skewed process clocks; blocks missing for a while; runners that die or are slow; publishers who tell
only some, or somebody wrong, take back what they published, and take out money; consumers whose requests, to ledgers
and to hosts themselves, are late, repeated or unsound. Each kind waits at named steps too (`fault_kinds`). Operators
pause and resume registries, and resume or drop lanes. After `Plan.calm_at` the faults stop, and everything must reach
its end.

Many schedules: `python -m caimi.apps.simulation`.
"""

from caimi.apps.simulation.plan import Plan, Result
from caimi.apps.simulation.run import Simulation, simulate

__all__ = ["Plan", "Result", "Simulation", "simulate"]
