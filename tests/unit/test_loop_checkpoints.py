"""What a run had spent at a checkpoint is read back whole by the process that goes on with it."""

from uuid import UUID

from agent.conversations.checkpoints import Checkpoint, SpentSoFar, checkpoint_of, checkpoint_text
from agent.events import ModelUsage, RunUsage


def test_a_checkpoint_keeps_tokens_costs_and_what_nobody_told() -> None:
    wise = ModelUsage(input_tokens=100, output_tokens=10, model_calls=1, cached_tokens=50, cost_usd=0.001)
    offline = ModelUsage(input_tokens=0, output_tokens=0, model_calls=1)
    usage = RunUsage(
        input_tokens=100,
        output_tokens=10,
        model_calls=2,
        tool_calls=1,
        by_model={"wise-1": wise, "offline": offline},
        cached_tokens=50,
        cost_usd=0.001,
        untold_calls=1,
    )
    spent = SpentSoFar(usage=usage, repairs=0, estimated_tokens=0, seconds=1.5)
    checkpoint = Checkpoint(message_id=UUID(int=1), calls=(), provider_items=(), spent=spent)
    assert checkpoint_of(checkpoint_text(checkpoint)) == checkpoint
