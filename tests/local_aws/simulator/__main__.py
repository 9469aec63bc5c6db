"""`python -m tests.local_aws.simulator`."""

from .server import main

raise SystemExit(main())
