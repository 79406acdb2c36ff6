"""Jobs as asyncio tasks: each task's events carry what was bound in it, and in no other."""

import asyncio

import realm_telemetry as realm


@realm.emits("dataset_generated", include=["dataset", "examples"])
async def generate(dataset: str, examples: int) -> None:
    """Make a dataset; the event comes when the coroutine has returned."""
    await asyncio.sleep(0.01)


async def run_job(job_id: str, hero_id: str) -> None:
    """Run one job; emitting never waits, so the event loop is never held up."""
    with realm.bound(hero_id=hero_id):
        async with realm.lifecycle("job", job_id=job_id, job_type="generate", worker_id="async"):
            await generate(dataset=f"arithmetic-{job_id}", examples=1_000)
            if job_id == "job-2":
                raise ValueError("no such skill")


async def main() -> None:
    """Run three jobs at once, one of which fails."""
    jobs = [run_job(f"job-{number}", hero_id=f"hero-{number}") for number in range(3)]
    for outcome in await asyncio.gather(*jobs, return_exceptions=True):
        print("done" if outcome is None else f"failed: {outcome}")
    await asyncio.to_thread(realm.flush, 5.0)


if __name__ == "__main__":
    realm.configure(service_name="asyncio_jobs")
    asyncio.run(main())
