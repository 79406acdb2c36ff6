"""A producer for the page tests: `emitting.py KIND COUNT PER_SECOND [RUN]`."""

import sys
import time

import realm_telemetry as realm


def main() -> None:
    """Emit at a steady pace."""
    kind, count, per_second = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    run = sys.argv[4] if len(sys.argv) > 4 else "r1"
    realm.configure(service_name="page_test", exporters=("battle_log",))
    began_s = time.perf_counter()
    with realm.bound(run_id=run):
        for number in range(1, count + 1):
            if kind == "training_step":
                realm.training_step(number, 2.0 / number, learning_rate=0.01, total_steps=count)
            else:
                realm.emit(kind, f"Number {number}", details={"n": number})
            time.sleep(max(began_s + number / per_second - time.perf_counter(), 0.0))
    realm.flush(timeout_s=60)


if __name__ == "__main__":
    main()
