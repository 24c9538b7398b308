"""What is asked over a relay can be paid in a browser: the feedback says where, the page holds that invoice."""

import httpx
import pytest

from tests.flows.shop import TIMMY, fresh_keys, heard, invoice_of, publish, serving, signed


async def asked_and_priced(shop):
    request = signed(fresh_keys(), 5050, [("i", "What is a relay?", "text")], to=TIMMY.public_key)
    await publish(shop.ready.relays[0], request)
    return await heard(shop.ready.relays[0], request, "payment-required")


async def test_the_price_names_the_page_and_the_page_shows_that_invoice(tmp_path):
    async with serving(tmp_path) as shop:
        price = await asked_and_priced(shop)
        _, _, links = price.content.partition("Pay: ")
        page, _, rest = links.partition(" or lightning:")
        assert rest.startswith(invoice_of(price))
        assert page.startswith(f"{shop.ready.http}/pay/")
        async with httpx.AsyncClient(trust_env=False) as http:
            shown = await http.get(page)
            code = await http.get(f"{page}.svg")
    assert shown.status_code == code.status_code == 200
    assert invoice_of(price) in shown.text
    assert "What is a relay?" not in shown.text


@pytest.mark.parametrize("public_url", ["https://timmy.example", "https://timmy.example/"])
async def test_it_is_named_by_the_address_at_which_others_reach_it(tmp_path, public_url):
    async with serving(tmp_path, more={"TIMMY_HTTP__PUBLIC_URL": public_url}) as shop:
        price = await asked_and_priced(shop)
    assert "Pay: https://timmy.example/pay/" in price.content
