"""The tests that every provider passes; a new one subclasses `ProviderContract` in its own test module.

    class TestAcme(ProviderContract):
        model = "acme-small"
        emulated = "acme"
        key_variable = "ACME_API_KEY"

        def provide(self, emulator, secret, retries=0):
            return AcmeProvider(api_key=secret, base_url=emulator.url, max_retries=retries)

What differs between providers is data of the subclass, see `Contract`; what they have in common is not negotiable. The
provider's own SDK talks to an emulator over a socket: to ours, or to one of yours that has the same controls. A
provider that executes requests one by one, at a host without batches, subclasses `DrivenContract`. Needs pytest.
"""

from batch_assets.provider_contract.calls import CallsContract
from batch_assets.provider_contract.contract import Contract
from batch_assets.provider_contract.driven import DrivenContract
from batch_assets.provider_contract.errors import ErrorsContract
from batch_assets.provider_contract.media import MediaContract
from batch_assets.provider_contract.night_faults import NightFaultsContract
from batch_assets.provider_contract.requests import RequestsContract
from batch_assets.provider_contract.results import ResultsContract

__all__ = ["Contract", "DrivenContract", "ProviderContract"]


class ProviderContract(
    RequestsContract, MediaContract, ResultsContract, CallsContract, ErrorsContract, NightFaultsContract
):
    """All of it."""
