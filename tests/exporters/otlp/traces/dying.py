"""A trainer and its job that wait to be killed. Arguments: home, the receiver's endpoint."""

import sys
import time

import realm_telemetry as realm

HOME, ENDPOINT = sys.argv[1:]

realm.configure(
    service_name="trainer",
    home=HOME,
    exporters=["battle_log", "otlp_traces"],
    options={"otlp_traces": {"endpoint": ENDPOINT}},
)
with realm.bound(run_id="r1"):
    with realm.lifecycle("eval", skill="add", level=1):
        time.sleep(0.01)
    with realm.lifecycle("training", model="m"), realm.lifecycle("job", job_id="a"):
        realm.checkpoint_saved(step=1, loss=0.5)
        realm.emit("note", "still here")
        print("ready", flush=True)
        time.sleep(600)
