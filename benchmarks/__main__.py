"""Every benchmark, one after the other; `python -m benchmarks`."""

from benchmarks import chat_turn, startup

if __name__ == "__main__":
    chat_turn.main()
    startup.main()
