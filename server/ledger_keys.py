"""Where the key comes from that heads of the ledger are signed with, and those before it that vouch for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from server.home import LEDGER_KEY, GlowHome, HomeUnusable
from server.signing import LedgerKey, seed_of
from server.vault import VaultPlace, VaultUnusable

KEY_FIELD, PREVIOUS_FIELD = "key", "previous_key"
"""Of the secret in Vault."""
LARGEST_FILE = 4096


class LedgerKeyUnusable(Exception):
    """No head can be signed; the message says why, and what to mend."""


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """What signs."""

    signer: LedgerKey
    previous: Sequence[LedgerKey] = ()
    """Keys that signed before: they say once more that this one follows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where to look: at most one of the first three is set; else the key is one that the home keeps."""

    text: SecretStr | None = None
    file: Path | None = None
    vault: VaultPlace | None = None
    previous: SecretStr | None = None
    home: GlowHome

    def keys(self) -> LedgerKeys:
        """The keys, made in the home where none is set and none there yet. It waits for files and for the network.

        Raises  LedgerKeyUnusable.
        """
        if self.vault is not None:
            return self._from_vault(self.vault)
        if self.text is None and self.file is None:
            try:
                return LedgerKeys(_key(self.home.make_secret(LEDGER_KEY), "GLOW_HOME"), self._given_before())
            except HomeUnusable as unusable:
                raise LedgerKeyUnusable(f"{unusable}, or set GLOW_LEDGER_KEY") from unusable
        return LedgerKeys(self._given(), [*self._given_before(), *self._kept_before()])

    def found(self) -> LedgerKey | None:
        """The key that signs, where there is one already; nothing is made.

        Raises  LedgerKeyUnusable.
        """
        if self.vault is None and self.text is None and self.file is None:
            before = self._kept_before()
            return before[0] if before else None
        return self.keys().signer

    def _given(self) -> LedgerKey:
        if self.text is not None:
            return _key(self.text.get_secret_value(), "GLOW_LEDGER_KEY")
        try:
            with (self.file or Path()).open("rb") as file:
                text = file.read(LARGEST_FILE).decode(errors="replace")
        except OSError as unreadable:
            raise LedgerKeyUnusable(f"GLOW_LEDGER_KEY_FILE {self.file}: {unreadable.strerror}") from unreadable
        return _key(text, "GLOW_LEDGER_KEY_FILE")

    def _given_before(self) -> Sequence[LedgerKey]:
        previous = self.previous
        return () if previous is None else (_key(previous.get_secret_value(), "GLOW_LEDGER_PREVIOUS_KEY"),)

    def _kept_before(self) -> Sequence[LedgerKey]:
        """The key that the home kept before one was set."""
        try:
            kept = self.home.secret(LEDGER_KEY)
        except HomeUnusable:
            return ()
        return () if kept is None else (_key(kept, "GLOW_HOME"),)

    def _from_vault(self, vault: VaultPlace) -> LedgerKeys:
        try:
            fields = vault.read()
        except VaultUnusable as unusable:
            raise LedgerKeyUnusable(f"GLOW_LEDGER_VAULT_PATH: {unusable}") from unusable
        if KEY_FIELD not in fields:
            raise LedgerKeyUnusable(f"GLOW_LEDGER_VAULT_PATH: {vault.asked} has no field {KEY_FIELD}")
        named = [fields[PREVIOUS_FIELD]] if PREVIOUS_FIELD in fields else []
        before = [_key(each, f"GLOW_LEDGER_VAULT_PATH, field {PREVIOUS_FIELD}") for each in named]
        signer = _key(fields[KEY_FIELD], f"GLOW_LEDGER_VAULT_PATH, field {KEY_FIELD}")
        return LedgerKeys(signer, [*before, *self._given_before(), *self._kept_before()])


def _key(text: str, where: str) -> LedgerKey:
    try:
        return LedgerKey(seed_of(text))
    except ValueError as wrong:
        raise LedgerKeyUnusable(f"{where}: {wrong}") from wrong
