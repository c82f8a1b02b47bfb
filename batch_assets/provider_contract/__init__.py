"""The tests that every provider passes; a new one subclasses `ProviderContract` in its own test module.

    class TestAcme(ProviderContract):
        model = "acme-small"
        emulated = "acme"
        key_variable = "ACME_API_KEY"

        def provide(self, emulator, secret, retries=0):
            return AcmeProvider(api_key=secret, base_url=emulator.url, max_retries=retries)

What differs between providers is data of the subclass, see `Contract`; what they have in common is not negotiable. The
provider's own SDK talks to an emulator over a socket: to ours, or to one of yours that has the same controls. Needs
pytest.
"""

from batch_assets.provider_contract.calls import CallsContract
from batch_assets.provider_contract.contract import Contract
from batch_assets.provider_contract.errors import ErrorsContract
from batch_assets.provider_contract.media import MediaContract
from batch_assets.provider_contract.nights import NightsContract
from batch_assets.provider_contract.requests import RequestsContract

__all__ = ["Contract", "ProviderContract"]


class ProviderContract(RequestsContract, MediaContract, CallsContract, ErrorsContract, NightsContract):
    """All of it."""
