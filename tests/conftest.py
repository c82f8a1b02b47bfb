import pytest

pytest.register_assert_rewrite("batch_assets.provider_contract")  # before any test, or any document, imports it
