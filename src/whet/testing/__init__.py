"""Contract suites: what every sampler, store and executor must keep, as test classes to inherit from."""
