"""`make demo`: types bedrock-batch's commands on a queue of its own, and checks every record."""

import sys

from tests.local_aws.processes import ROOT

# The client, and the functions' code that it uses.
for folder in ("lambdas", "cli"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))
