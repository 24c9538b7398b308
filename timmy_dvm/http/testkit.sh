#!/usr/bin/env bash
# Tests a running Timmy from outside, with nothing but bash (3.2 will do), curl and head:
#
#     curl -s ADDRESS/api/testkit | bash              this server
#     curl -s ADDRESS/api/testkit | bash -s -- URL    another one
#
# A line a fact: PASS, FAIL or SKIP, the test's number, and what was asserted. The last line counts them; exit code 1
# where anything failed. It makes a few jobs and pays them by the developers' route, where there is one (simulated
# sats); without that route whatever has to be paid is skipped.
#
# Audit log: what each test proves.
#   T1   health: it serves, and says whether its wallet is simulated
#   T2   a job is made with its eval invoice: id, BOLT11, sum, payment hash
#   T3   before payment the job waits, and nothing of it is done
#   T4   the eval invoice is paid
#   T5   after eval the job waits for the work's payment, with an invoice and the price taken apart
#   T6   paid, the work is done: state=complete and a result; T21 and T24 look at this job again
#   T7   a free try answers, and tells its limit
#   T8   a request that is missing (a), or too long (b), is refused, each with its own sentence (c)
#   T9   over the free limit it is 429, with nothing left
#   T10  a body of two million bytes is refused, and serving goes on
#   T11  what does not exist is 404, with a sentence and a word
#   T12  a challenge to sign is given out, another one each time
#   T13  a token that is none is 401, never silently nobody
#   T14  who asks for their profile without a token is told so
#   T15  every answer about a job tells the tier
#   T16  an estimate names the price, and changes nothing
#   T17  a session is made with its deposit's invoice
#   T18  a session's own routes want its credential
#   T19  paid, a session has its balance; a request takes from it what it says it takes, and no more
#   T20  a second top-up while one is open is refused, and names the open one
#   T21  times are ISO 8601 in UTC, and the end is told only where there is one
#   T22  the Workshop tells who is in it
#   T23  a node is ordered, paid, and on its way, under the id that was given out
#   T24  the ledger of T6's job is whole: nobody paid more than was asked

BASE=__BASE__
if [ $# -gt 0 ]; then BASE=$1; fi
BASE=${BASE%/}
QUESTION='What is a data vending machine, and who pays it?'
BLANK=$'\r\n\r\n'
PASSED=0
FAILED=0
SKIPPED=0

# -- what is asked ---------------------------------------------------------------------------------------------------

# call METHOD PATH [curl's options]: sets STATUS, HEAD and BODY.
call() {
  local method=$1 path=$2 answer
  shift 2
  answer=$(curl -s -i -m 30 -w END -X "$method" "$@" "$BASE$path" 2>/dev/null)
  answer=${answer%END}
  STATUS=000
  HEAD=
  BODY=
  while [ -n "$answer" ]; do
    HEAD=${answer%%"$BLANK"*}
    BODY=${answer#*"$BLANK"}
    STATUS=${HEAD#* }
    STATUS=${STATUS%%[!0-9]*}
    case $STATUS in
      1??) answer=$BODY ;; # a server that says "go on" answers after that
      *) answer= ;;
    esac
  done
}

get() {
  local path=$1
  shift
  call GET "$path" "$@"
}

# post PATH JSON [curl's options]
post() {
  local path=$1 json=$2
  shift 2
  call POST "$path" -H 'Content-Type: application/json' --data-binary "$json" "$@"
}

# field NAME JSON: the first value of that name; of a flat object its inside. Nothing where there is none.
field() {
  local key="\"$1\":" rest=$2
  case $rest in
    *"$key"*) ;;
    *) return 0 ;;
  esac
  rest=${rest#*"$key"}
  while [ "${rest# }" != "$rest" ]; do rest=${rest# }; done
  case $rest in
    '"'*)
      rest=${rest#'"'}
      printf '%s' "${rest%%'"'*}"
      ;;
    '{'*) printf '%s' "${rest%%\}*}" ;;
    '['*) printf '%s' "${rest%%\]*}" ;;
    *) printf '%s' "${rest%%[,\}]*}" ;;
  esac
}

# header NAME: its value in HEAD, the name in lower case.
header() {
  printf '%s\n' "$HEAD" | tr -d '\r' | tr '[:upper:]' '[:lower:]' | sed -n "s/^$1: *//p" | sed -n 1p
}

# reach PATH STATES SECONDS PAUSE: look until `state` is one of STATES (between spaces); sets STATE.
reach() {
  local path=$1 states=$2 left=$3 pause=$4
  while :; do
    get "$path"
    STATE=$(field state "$BODY")
    case " $states " in
      *" $STATE "*) if [ -n "$STATE" ]; then return 0; fi ;;
    esac
    left=$((left - pause))
    if [ $left -lt 0 ]; then return 1; fi
    sleep "$pause"
  done
}

# -- what is told ----------------------------------------------------------------------------------------------------

passed() {
  PASSED=$((PASSED + 1))
  printf 'PASS %s %s\n' "$1" "$2"
}

failed() {
  local told=$BODY
  FAILED=$((FAILED + 1))
  printf 'FAIL %s %s (last answer: %s %.160s)\n' "$1" "$2" "$STATUS" "${told//$'\n'/ }"
}

skipped() {
  SKIPPED=$((SKIPPED + 1))
  printf 'SKIP %s %s\n' "$1" "$2"
}

# check NUMBER FACT COMMAND...: the fact holds where the command succeeds.
check() {
  local number=$1 fact=$2
  shift 2
  if "$@"; then passed "$number" "$fact"; else failed "$number" "$fact"; fi
}

is() { [ "$1" = "$2" ]; }
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }
told() { [ -n "$1" ] && [ "$1" != null ]; }
is_number() {
  case $1 in
    '' | *[!0-9]*) return 1 ;;
  esac
}
positive() { is_number "$1" && [ "$1" -gt 0 ]; }
at_most() { is_number "$1" && is_number "$2" && [ "$1" -le "$2" ]; }
is_hash() {
  case $1 in
    *[!0-9a-f]*) return 1 ;;
  esac
  [ ${#1} -eq 64 ]
}
is_moment() {
  case $1 in
    2[0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*Z) ;;
    *) return 1 ;;
  esac
}
not_later() { is_moment "$1" && is_moment "$2" && ! [[ "$1" > "$2" ]]; }
begins() {
  case $2 in
    "$1"*) ;;
    *) return 1 ;;
  esac
}
names_all() {
  local text=$1 word
  shift
  for word in "$@"; do
    case $text in
      *"\"$word\""*) ;;
      *) return 1 ;;
    esac
  done
}
# Whether the route is not there: this server has it in another mode, or not at all.
absent() { [ "$STATUS" = 404 ] && [ "$(field code "$BODY")" = not_found ]; }
problem() { [ "$STATUS" = "$1" ] && [ -n "$(field error "$BODY")" ] && [ -n "$(field code "$BODY")" ]; }

# pay HASH: one of the server's own invoices; sets PAID to yes, no, or absent where nothing can be paid from here.
pay() {
  PAID=no
  if ! is_hash "$1"; then return; fi
  post "/api/dev/stub/pay/$1" '{}'
  if absent; then
    PAID=absent
  elif [ "$STATUS" = 200 ] && [ "$(field ok "$BODY")" = true ]; then
    PAID=yes
  fi
}

# -- the tests -------------------------------------------------------------------------------------------------------

t1() {
  get /api/healthz
  check T1a 'health is 200 and ok' is "$STATUS $(field status "$BODY")" '200 ok'
  STUB=$(field stubMode "$BODY")
  check T1b 'health says whether the wallet is simulated' names_all ' "true" "false" ' "${STUB:-nothing}"
}

t2() {
  local invoice
  post /api/jobs "{\"request\":\"$QUESTION\"}"
  JOB=$(field jobId "$BODY")
  JOB_TIER=$(field trust_tier "$BODY")
  invoice=$(field evalInvoice "$BODY")
  EVAL_HASH=$(field paymentHash "$invoice")
  check T2a 'a job is made with 201 and an id' is "$STATUS${JOB:+ with an id}" '201 with an id'
  check T2b 'its eval invoice is a BOLT11' begins ln "$(field paymentRequest "$invoice")"
  check T2c 'its eval invoice has a sum' positive "$(field amountSats "$invoice")"
  check T2d 'its eval invoice has a payment hash' is_hash "$EVAL_HASH"
}

t3() {
  if [ -z "$JOB" ]; then
    failed T3 'the job waits for its eval payment'
    return
  fi
  get "/api/jobs/$JOB"
  check T3 'the job waits for its eval payment' is "$STATUS $(field state "$BODY")" '200 awaiting_eval_payment'
}

t4() {
  pay "$EVAL_HASH"
  if [ $PAID = absent ]; then
    skipped T4 'nothing can be paid from here: there is no developers'"'"' route'
    return
  fi
  check T4 'the eval invoice is paid' is $PAID yes
}

t5() {
  local invoice
  WORK_HASH=
  if [ $PAID = absent ]; then
    skipped T5 'the eval was not paid'
    return
  fi
  if [ $PAID = yes ]; then reach "/api/jobs/$JOB" 'awaiting_work_payment rejected failed complete' 90 1; fi
  check T5a 'eval passed, and the job waits for the work'"'"'s payment' is "$STATE" awaiting_work_payment
  invoice=$(field workInvoice "$BODY")
  WORK_HASH=$(field paymentHash "$invoice")
  check T5b 'its work invoice has a payment hash' is_hash "$WORK_HASH"
  check T5c 'the price is taken apart, with what a bitcoin costs' told \
    "$(field btcPriceUsd "$(field pricingBreakdown "$BODY")")"
}

t6() {
  T6=
  if [ $PAID = absent ]; then
    skipped T6 'the eval was not paid'
    return
  fi
  pay "$WORK_HASH"
  STATE=
  if [ $PAID = yes ]; then reach "/api/jobs/$JOB" 'complete rejected failed' 240 1; fi
  check T6a "state=${STATE:-unknown}" is "$STATE" complete
  check T6b 'a complete job has a result' told "$(field result "$BODY")"
  if [ "$STATE" = complete ]; then T6=$BODY; fi
}

t7() {
  LEFT=
  get '/api/demo?request=hello'
  if absent; then
    skipped T7 'there is no free try here'
    return
  fi
  LEFT=$(header x-ratelimit-remaining)
  if [ "$STATUS" = 429 ] && [ "$LEFT" = 0 ]; then
    skipped T7 'the free tries of this hour were used before'
    return
  fi
  check T7a 'a free try answers' is "$STATUS$(told "$(field result "$BODY")" && echo ' with a result')" '200 with a result'
  check T7b 'it tells how many there are' is_number "$(header x-ratelimit-limit)"
  check T7c 'it tells how many are left' is_number "$LEFT"
}

t8() {
  local missing long=$QUESTION
  post /api/jobs '{}'
  check T8a 'a job without a request is 400' problem 400
  missing=$(field error "$BODY")
  while [ ${#long} -le 500 ]; do long="$long $QUESTION"; done
  post /api/jobs "{\"request\":\"$long\"}"
  check T8b 'a request of more than 500 characters is 400' problem 400
  check T8c 'the two have different sentences' differ "$missing" "$(field error "$BODY")"
}

t9() {
  # What is left was told by T7: a server with a generous limit is not emptied for a test.
  if ! is_number "$LEFT" || [ "$LEFT" -gt 20 ]; then
    skipped T9 "the free limit is not tested (left: ${LEFT:-unknown})"
    return
  fi
  while [ "$LEFT" -gt 0 ]; do
    get '/api/demo?request=hello'
    LEFT=$((LEFT - 1))
  done
  get '/api/demo?request=hello'
  check T9a 'over the free limit it is 429' problem 429
  check T9b 'and nothing is left' is "$(header x-ratelimit-remaining)" 0
}

t10() {
  # Of so large a body curl asks first (Expect: 100-continue), and a server that refuses it never reads it.
  answer_to_large() { head -c 2000000 /dev/zero | tr '\0' x | call_stdin; }
  call_stdin() {
    call POST /api/jobs -H 'Content-Type: application/json' --data-binary @-
    printf '%s %s' "$STATUS" "$(field code "$BODY")"
  }
  LARGE=$(answer_to_large)
  STATUS=${LARGE%% *}
  BODY=${LARGE#* }
  check T10a 'a body of two million bytes is 413' is "$STATUS" 413
  get /api/healthz
  check T10b 'serving goes on after it' is "$STATUS" 200
}

t11() {
  get /api/jobs/00000000000000000000000000000000
  check T11 'a job that does not exist is 404 unknown_job' is "$STATUS $(field code "$BODY")" '404 unknown_job'
}

t12() {
  local first
  post /api/identity/challenge '{}'
  if absent; then
    skipped T12 'nobody signs in here'
    return
  fi
  first=$(field challenge "$BODY")
  check T12a 'a challenge is given out, with its end' is_moment "$(field expiresAt "$BODY")"
  post /api/identity/challenge '{}'
  check T12b 'the next one is another' differ "$first" "$(field challenge "$BODY")"
}

t13() {
  post /api/jobs "{\"request\":\"$QUESTION\"}" -H 'X-Nostr-Token: junk'
  check T13 'a job asked for with a token that is none is 401' problem 401
}

t14() {
  get /api/identity/me
  if absent; then
    skipped T14 'nobody signs in here'
    return
  fi
  check T14 'a profile without a token is 401' problem 401
}

t15() {
  check T15a 'a new job of nobody in particular has the tier anonymous' is "$JOB_TIER" anonymous
  get /api/jobs/00000000000000000000000000000000
  check T15b 'a problem tells the tier too' is "$(field trust_tier "$BODY")" anonymous
}

t16() {
  local pool
  get '/api/estimate?request=hello'
  check T16a 'an estimate is 200 and names a price' is "$STATUS$(positive "$(field estimatedSats "$BODY")" && echo ' with a price')" '200 with a price'
  check T16b 'it names what a bitcoin costs' told "$(field btcPriceUsd "$BODY")"
  check T16c 'it names the tokens it reckons with' positive "$(field tokenEstimate "$BODY")"
  pool=$(field balanceSats "$(field pool "$BODY")")
  get '/api/estimate?request=hello'
  check T16d 'asking again finds the pool as it was' is "$(field balanceSats "$(field pool "$BODY")")" "${pool:-a balance}"
  get /api/estimate
  check T16e 'an estimate of nothing is 400' problem 400
}

t17() {
  SESSION=
  SESSION_HASH=
  post /api/sessions '{"amount_sats":500}'
  if absent; then
    HAS_SESSIONS=no
    skipped T17 'there are no sessions here'
    return
  fi
  HAS_SESSIONS=yes
  SESSION=$(field sessionId "$BODY")
  SESSION_HASH=$(field paymentHash "$(field invoice "$BODY")")
  check T17a 'a session is made with 201 and an id' is "$STATUS${SESSION:+ with an id}" '201 with an id'
  check T17b 'its deposit has a payment hash' is_hash "$SESSION_HASH"
}

t18() {
  if [ $HAS_SESSIONS = no ]; then
    skipped T18 'there are no sessions here'
    return
  fi
  post "/api/sessions/$SESSION/request" "{\"request\":\"$QUESTION\"}"
  check T18a 'a session'"'"'s request without its credential is 401' problem 401
  post "/api/sessions/$SESSION/request" "{\"request\":\"$QUESTION\"}" -H 'Authorization: Bearer junk'
  check T18b 'and with a credential that is none too' problem 401
}

t19() {
  local before debited
  MACAROON=
  if [ $HAS_SESSIONS = no ]; then
    skipped T19 'there are no sessions here'
    return
  fi
  pay "$SESSION_HASH"
  if [ $PAID = absent ]; then
    skipped T19 'the deposit can'"'"'t be paid from here'
    return
  fi
  if [ $PAID = yes ]; then reach "/api/sessions/$SESSION" active 30 1; fi
  before=$(field balanceSats "$BODY")
  MACAROON=$(field macaroon "$BODY")
  check T19a 'paid, the session has its deposit as balance' is "$before" 500
  check T19b 'and its credential is given out' told "$MACAROON"
  post "/api/sessions/$SESSION/request" "{\"request\":\"$QUESTION\"}" -H "Authorization: Bearer $MACAROON" -m 240
  check T19c 'a request on it is answered' is "$STATUS$(told "$(field result "$BODY")" && echo ' with a result')" '200 with a result'
  debited=$(field debitedSats "$BODY")
  if ! is_number "$debited"; then debited=0; fi
  check T19d 'the balance falls by what the answer says' is \
    "$(field balanceSats "$BODY") after $(field debitedSats "$BODY")" "$((${before:-0} - debited)) after $debited"
}

t20() {
  local first
  if [ $HAS_SESSIONS = no ] || [ $PAID = absent ]; then
    skipped T20 'there is no session with money in it here'
    return
  fi
  post "/api/sessions/$SESSION/topup" '{"amount_sats":300}' -H "Authorization: Bearer $MACAROON"
  first=$(field paymentHash "$BODY")
  check T20a 'a top-up is 201 with a payment hash' is "$STATUS$(is_hash "$first" && echo ' with a hash')" '201 with a hash'
  post "/api/sessions/$SESSION/topup" '{"amount_sats":300}' -H "Authorization: Bearer $MACAROON"
  check T20b 'a second one while it is open is 409' problem 409
  check T20c 'and names the open one' is "$(field paymentHash "$(field pendingTopup "$BODY")")" "${first:-a hash}"
}

t21() {
  if [ -z "$T6" ]; then
    skipped T21 'there is no complete job to look at'
    return
  fi
  check T21a 'a complete job began at a moment in UTC' is_moment "$(field createdAt "$T6")"
  check T21b 'and did not end before it' not_later "$(field createdAt "$T6")" "$(field completedAt "$T6")"
  post /api/jobs "{\"request\":\"$QUESTION\"}"
  check T21c 'a job that is not complete has no end' is "$STATUS $(field completedAt "$BODY")" '201 null'
}

t22() {
  get /api/world
  if absent; then
    skipped T22 'there is no Workshop here'
    return
  fi
  check T22a 'the Workshop tells its state' is "$STATUS" 200
  check T22b 'and the five who work in it' names_all "$BODY" alpha beta gamma delta timmy
}

t23() {
  local order hash
  post /api/bootstrap '{}'
  if absent; then
    skipped T23 'no nodes are sold here'
    return
  fi
  if [ "$STATUS" = 201 ] && [ "$(field stubMode "$BODY")" = false ]; then
    skipped T23 'nodes are sold for real here'
    return
  fi
  order=$(field bootstrapJobId "$BODY")
  hash=$(field paymentHash "$BODY")
  check T23a 'a node is ordered with 201 and an id' is "$STATUS${order:+ with an id}" '201 with an id'
  check T23b 'the order has a payment hash' is_hash "$hash"
  pay "$hash"
  if [ $PAID = absent ]; then
    skipped T23 'the node can'"'"'t be paid from here'
    return
  fi
  check T23c 'the node is paid' is $PAID yes
  STATE=
  if [ $PAID = yes ]; then reach "/api/bootstrap/$order" 'provisioning ready' 20 2; fi
  check T23d 'the node is on its way, or there' names_all ' "provisioning" "ready" ' "${STATE:-nothing}"
  check T23e 'under the id that was given out' is "$(field bootstrapJobId "$BODY")" "${order:-an id}"
  check T23f 'and it is told how it stands' told "$(field message "$BODY")"
}

t24() {
  local ledger name missing=
  if [ -z "$T6" ]; then
    skipped T24 'there is no complete job to look at'
    return
  fi
  BODY=$T6
  ledger=$(field costLedger "$T6")
  for name in actualInputTokens actualOutputTokens totalTokens actualCostUsd actualAmountSats workAmountSats \
    refundAmountSats refundState; do
    if ! told "$(field $name "$ledger")"; then missing="$missing $name"; fi
  done
  check T24a "the ledger of T6's job has its eight fields${missing:+, but for$missing}" is "$missing" ''
  check T24b 'the work was charged at most what was asked' at_most \
    "$(field actualAmountSats "$ledger")" "$(field workAmountSats "$ledger")"
  check T24c 'what goes back is not below zero' is_number "$(field refundAmountSats "$ledger")"
  check T24d 'how it goes back is told in one of three words' names_all \
    ' "not_applicable" "pending" "paid" ' "$(field refundState "$ledger")"
}

STATE=
PAID=absent
t1
t2
t3
t4
t5
t6
t7
t8
t9
t10
t11
t12
t13
t14
t15
t16
t17
t18
t19
t20
t21
t22
t23
t24
printf 'PASS=%d FAIL=%d SKIP=%d\n' $PASSED $FAILED $SKIPPED
[ $FAILED -eq 0 ]
