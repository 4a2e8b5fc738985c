"""Every benchmark, one after the other; `python -m benchmarks`."""

from benchmarks import chat_turn, mcp_call, runs, search, startup, streams

if __name__ == "__main__":
    chat_turn.main()
    mcp_call.main()
    startup.main()
    streams.main()
    runs.main()
    search.measure_and_print()
