"""`python3 -m pipeline.installation` creates, updates or removes `.venv`."""

import sys

from pipeline import streams
from pipeline.installation import virtual_environment

if __name__ == "__main__":
    streams.prepare()
    sys.exit(virtual_environment.main())
