"""Random: many short lives of the queue, each replayed exactly by its seed (see ``tests/support/soak.py``).

`make soak SEEDS=1000` lives through more of them, `make soak SEED=17` through one again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest

from tests.support.soak import FAULTS, live
from tests.support.world import package_root

pytestmark = pytest.mark.faults

SEEDS = 200


def chosen() -> range:
    """The seeds to live through, by the environment: SEED for one, SEEDS for how many."""
    if one := os.environ.get("SEED"):
        return range(int(one), int(one) + 1)
    return range(int(os.environ.get("SEEDS") or SEEDS))


def test_no_life_loses_a_record_or_pays_for_one_twice() -> None:
    with ProcessPoolExecutor() as pool:
        lives = {pool.submit(live, seed): seed for seed in chosen()}
        for life in as_completed(lives):
            if error := life.exception():
                pool.shutdown(cancel_futures=True)
                seed = lives[life]
                pytest.fail(f"`make soak SEED={seed}` replays it:\n{error.__cause__ or error}", pytrace=False)
    survived = [life.result() for life in lives]
    faults = sum((Counter(life.faults) for life in survived), Counter[str]())
    uploads = sum((Counter(life.uploads) for life in survived), Counter[str]())
    print(
        f"{len(survived)} seeds: {sum(life.calls for life in survived):,} AWS calls and "
        f"{faults.total():,} faults survived in {sum(life.jobs for life in survived):,} jobs, and "
        f"{sum(life.paid for life in survived):,} answers on demand"
    )
    print(f"faults: {dict(faults.most_common())}")
    print(f"uploads: {dict(uploads.most_common())}")
    if len(survived) >= SEEDS:
        assert not FAULTS - set(faults), "these never happened"


@pytest.mark.parametrize("seed", [16, 24])
def test_a_seed_replays_exactly_whatever_the_order_of_sets(seed: int) -> None:
    # Given the same seed in two processes whose sets and dicts of text are in another order
    code = f"from tests.support.soak import Life; print('digest', Life({seed}).run().digest)"
    environment = {**os.environ, "PYTHONPATH": f"lambdas{os.pathsep}."}
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=package_root(),
            env={**environment, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout.splitlines()[-1]
        for hash_seed in ("1", "2")
    }
    # Then they do the same calls in the same order
    assert len(found) == 1
