"""`make demo`: ships examples/requests/ through the whole queue, shows it live, and checks every record."""

import sys

from tests.local_aws.processes import ROOT

# The demo reads the queue's rows with the queue's own row classes.
if str(ROOT / "lambdas") not in sys.path:
    sys.path.insert(0, str(ROOT / "lambdas"))
