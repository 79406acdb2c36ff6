"""The quick start of the README: one run, its job, its steps, its checkpoint."""

import random

import realm_telemetry as realm

realm.configure(service_name="training_daemon")

with (
    realm.bound(hero_id="dio", campaign_id="first-steps"),
    realm.lifecycle("training", model="tiny", total_steps=100) as training,
):
    loss = 2.3
    for step in range(1, 101):
        loss *= random.uniform(0.97, 1.0)
        realm.training_step(step, loss, learning_rate=0.01, total_steps=100)
    realm.checkpoint_saved(step=100, loss=loss, path="checkpoints/100")
    training.set(step=100, loss=loss)

if not realm.flush(timeout_s=5.0):
    print(f"Kept, and delivered later: {realm.flush_problem()}")
