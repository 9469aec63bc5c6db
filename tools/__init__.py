"""What make runs: environments, checks, the package, the documentation."""
