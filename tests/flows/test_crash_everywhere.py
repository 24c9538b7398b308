"""Death before and after every commit and every effect of a job, once and twice: nothing is lost or doubled."""

import pytest

from tests.flows.lives import SHARDS, World, die_at_each_step, die_twice


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_dead_at_any_step_the_next_life_settles_everything_once(tmp_path, shard):
    await die_at_each_step(World, tmp_path, shard, least=50)


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_dead_again_at_any_step_of_the_next_life_all_the_same(tmp_path, shard):
    await die_twice(World, tmp_path, shard)
