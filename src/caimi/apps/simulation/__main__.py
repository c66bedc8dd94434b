"""`python -m caimi.apps.simulation`: see `caimi.apps.simulation.campaign`."""

import sys

from caimi.apps.simulation.campaign import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
