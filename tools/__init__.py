"""What may be done: manifests, registry, policy, gate, outcomes and the handlers behind them."""
