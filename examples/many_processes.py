"""Workers by multiprocessing: `configure` in the parent is enough, children join by themselves."""

import multiprocessing
import os

import realm_telemetry as realm


def evaluate(level: int) -> float:
    """Run in a child, which is a producer of its own."""
    realm.eval_started("addition", level)
    accuracy = 1.0 - level / 10
    realm.eval_completed("addition", level, accuracy, pid=os.getpid())
    return accuracy


def main() -> None:
    """Evaluate four levels in two processes."""
    realm.configure(service_name="eval_runner")
    with realm.lifecycle("eval_round", levels=4) as eval_round:
        # Spawned children read the environment, forked ones inherit.
        workers = multiprocessing.get_context("spawn").Pool(2)
        with workers:
            accuracies = workers.map(evaluate, range(4))
            # Closed and joined, not terminated: so the children say goodbye.
            workers.close()
            workers.join()
        eval_round.set(accuracies=accuracies)
    print(accuracies)
    realm.flush(timeout_s=5.0)


if __name__ == "__main__":
    main()
