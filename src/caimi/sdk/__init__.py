"""The client library: publish, list, trace, infer and verify from Python. See `Client` and its twin `SyncClient`."""
