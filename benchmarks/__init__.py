"""What the method costs, measured side by side with what people would run instead (docs/benchmarks)."""

import os

# torch's profiler reports on itself for every profile, of which there are dozens.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
# Threads that spin while they wait take the processor from whatever else runs. It counts before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
