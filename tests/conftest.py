"""One thread per test process: small tensors are slower on two contended ones."""

import torch

torch.set_num_threads(1)
