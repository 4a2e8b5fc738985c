"""Every benchmark, one after the other; `python -m benchmarks`."""

from benchmarks import chat_turn, ingest, ledger, mcp_call, runs, search, startup, streams, taking_in

if __name__ == "__main__":
    chat_turn.main()
    mcp_call.main()
    startup.main()
    streams.main()
    runs.main()
    ingest.main()
    taking_in.main()
    ledger.measure_and_print(ledger.FEW)
    search.measure_and_print()
