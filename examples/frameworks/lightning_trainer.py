"""A tiny model trained with Lightning, in seconds and on a CPU.

Without a line for it: realm run -- python examples/frameworks/lightning_trainer.py
"""

import tempfile

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger

from realm_telemetry.integrations.lightning import RealmCallback


class Model(lightning.LightningModule):
    """Learns the sum of four numbers."""

    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss = (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("val_loss", (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


out = tempfile.mkdtemp()
data = torch.utils.data.DataLoader(torch.randn(256, 4), batch_size=16)
trainer = lightning.Trainer(
    max_epochs=3,
    accelerator="cpu",
    logger=CSVLogger(out),
    default_root_dir=out,
    log_every_n_steps=4,
    enable_progress_bar=False,
    callbacks=[RealmCallback()],  # the one line
)
trainer.fit(Model(), data, data)
