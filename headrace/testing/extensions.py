"""What holds for every extension."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.testing.components import ComponentContract
from headrace.testing.hosts import running

if TYPE_CHECKING:
    from headrace.pipeline.component import ExtensionFactory


class ExtensionContract(ComponentContract):
    """Subclass it, set `factory`, and pytest runs the contract.

    Attributes:
        fulfils: Protocols that other components ask the extension for, such as `Authenticator`.
    """

    factory: ClassVar[ExtensionFactory[Any]]
    kind: ClassVar[str] = "extensions"
    fulfils: ClassVar[tuple[type, ...]] = ()

    def create(self, config: Any) -> Any:
        """Return a new extension."""
        return self.factory.create(self.settings, config)

    def test_others_find_it(self) -> None:
        """Components that name it get it as what they need, once it is started."""

        async def find() -> None:
            extension = self.host.extensions[self.settings.id] = self.make()
            async with running(extension, self.host):
                for protocol in self.fulfils:
                    assert self.host.extension(self.settings.id, protocol, "a test") is extension

        asyncio.run(find())
