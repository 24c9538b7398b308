// One job's own page, found by its link; the claim secret, if any, stands in the fragment.

import { openCheckout, wireCheckout } from "./checkout.js";
import { find, show } from "./dom.js";

const claimSecret = new URLSearchParams(window.location.hash.slice(1)).get("claim") ?? undefined;
const plain = find("plain");
if (plain) show(plain, false);
find("checkout-title").textContent = "How it goes";
wireCheckout();
openCheckout({ jobId: document.body.dataset.job, claimSecret });
window.addEventListener("hashchange", () => window.location.reload());
