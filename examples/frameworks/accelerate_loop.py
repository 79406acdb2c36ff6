"""A loop of one's own with accelerate, in seconds and on a CPU.

The import is not needed below realm run: realm run -- python examples/frameworks/accelerate_loop.py
"""

import tempfile

import torch
from accelerate import Accelerator

import realm_telemetry.integrations.accelerate  # noqa: F401 - the one line: it knows "realm" then

accelerator = Accelerator(log_with="realm", cpu=True)
accelerator.init_trackers("sums", config={"lr": 0.05, "batch_size": 16})
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
batches = torch.utils.data.DataLoader(torch.randn(512, 4), batch_size=16)
model, optimizer, batches = accelerator.prepare(model, optimizer, batches)

for step, batch in enumerate(batches, 1):
    loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    accelerator.backward(loss)
    optimizer.step()
    if step % 4 == 0:
        accelerator.log({"loss": loss.item()}, step=step)
accelerator.save_state(tempfile.mkdtemp())
accelerator.end_training()
