"""What the method costs, measured side by side with what people would run instead (docs/benchmarks)."""
