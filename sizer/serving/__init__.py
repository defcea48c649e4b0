"""Many users: continuous batching over time, queues, percentiles, replicas, cost. Formulas: docs/serving.md."""
