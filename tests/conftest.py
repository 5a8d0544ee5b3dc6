"""What every test may use."""

from hypothesis import settings

pytest_plugins = ("tests.broker.broker_fixtures",)

# A shared machine is slow at times; the suite's own limit is the timeout.
settings.register_profile("edgefed", deadline=None)
settings.load_profile("edgefed")
