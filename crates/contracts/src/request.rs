//! From a stub's arguments to one function of a health contract, and back to a response.
//!
//! A call is `[function, JSON object, requestId?]`. The rules that hold for every function live
//! here: clock skew (R6), one event per transaction (R8), idempotency by request id (R12) and
//! error messages (R13). The rules are those of `docs/contracts.md`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::commitment::hash_of;
use crate::contract::Response;
use crate::failure::Failure;
use crate::key::composite_key;
use crate::roles::Config;
use crate::stub::Stub;

/// How far a proposal's timestamp may be from the endorser's clock (R6), in seconds.
pub const MAX_CLOCK_SKEW_SECONDS: i64 = 300;

const MAX_REQUEST_ID_CHARS: usize = 64;
const MAX_ARGUMENT_BYTES: usize = 4 * 1024 * 1024;

/// What a function does to the ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Writes: request ids and the clock are checked.
    Submit,
    /// Writes, and takes sensitive input from the transient map.
    SubmitTransient,
    /// Only reads.
    Evaluate,
}

/// One function of a contract.
pub(crate) struct Function {
    pub name: &'static str,
    pub effect: Effect,
    /// The JSON object it takes, as told to callers who got it wrong.
    pub expects: &'static str,
    pub run: fn(&mut Call<'_>) -> Result<Outcome, Failure>,
}

/// A table of functions: effect, name, expected JSON, implementation.
macro_rules! functions {
    ($($effect:ident $name:literal $expects:literal => $run:path;)*) => {
        &[$($crate::request::Function {
            name: $name,
            effect: $crate::request::Effect::$effect,
            expects: $expects,
            run: $run,
        }),*]
    };
}
pub(crate) use functions;

/// What a function gives back.
pub(crate) struct Outcome {
    payload: Vec<u8>,
    event: Option<Event>,
}

/// The one event of a transaction (R8).
pub(crate) struct Event {
    pub name: &'static str,
    pub body: EventBody,
}

/// An event's payload.
#[derive(Serialize)]
pub(crate) struct EventBody {
    pub id: String,
    pub state: String,
    pub org: String,
    #[serde(rename = "ref")]
    pub reference: String,
}

/// What a submitted transaction returns (R2).
#[derive(Serialize)]
pub(crate) struct Receipt<'a> {
    pub id: &'a str,
    pub state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
}

impl Outcome {
    /// A change of state without a verdict: `{id, state}`.
    pub fn changed(id: &str, state: &str) -> Self {
        Self::of(&Receipt {
            id,
            state,
            decision: None,
            code: None,
        })
    }

    /// A verdict: `{id, state, decision, code}`, status 200 and committed (R4).
    pub fn verdict(id: &str, state: &str, decision: &str, code: &str) -> Self {
        Self::of(&Receipt {
            id,
            state,
            decision: Some(decision),
            code: Some(code),
        })
    }

    /// Any other answer.
    pub fn of(value: &impl Serialize) -> Self {
        Outcome {
            payload: to_json(value),
            event: None,
        }
    }

    /// The same answer with an event.
    pub fn event(
        mut self,
        call: &Call<'_>,
        name: &'static str,
        id: &str,
        state: &str,
        reference: &str,
    ) -> Self {
        self.event = Some(Event {
            name,
            body: EventBody {
                id: id.to_owned(),
                state: state.to_owned(),
                org: call.msp().to_owned(),
                reference: reference.to_owned(),
            },
        });
        self
    }
}

/// Deterministic JSON: fields in the order of their declaration, maps sorted.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Our own types have string keys and no fallible serializers, so this cannot fail.
    serde_json::to_vec(value).expect("plain data serializes")
}

/// One call of a function: the stub with what the rules need at hand.
pub(crate) struct Call<'s> {
    pub stub: &'s mut dyn Stub,
    /// The proposal's time, seconds since 1970.
    pub now: i64,
    function: &'static str,
    expects: &'static str,
    config: Option<Config>,
}

impl Call<'_> {
    /// The function's JSON argument.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let bytes: &[u8] = self.stub.args().get(1).map_or(b"{}", |bytes| bytes);
        if bytes.len() > MAX_ARGUMENT_BYTES {
            return Err(Failure::malformed(format!(
                "{} takes at most {MAX_ARGUMENT_BYTES} bytes of JSON, got {}",
                self.function,
                bytes.len()
            )));
        }
        serde_json::from_slice(bytes).map_err(|error| {
            Failure::malformed(format!(
                "{} expects {}: {error}",
                self.function, self.expects
            ))
        })
    }

    /// Sensitive input: a JSON value under a name of the transient map, `None` when absent.
    pub fn transient<T: DeserializeOwned>(
        &self,
        name: &str,
        expects: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(bytes) = self.stub.transient().get(name) else {
            return Ok(None);
        };
        // The parser's message could quote the value: say only where it stopped.
        serde_json::from_slice(bytes).map(Some).map_err(|error| {
            Failure::malformed(format!(
                "{} expects transient '{name}' to be {expects}; it stops making sense at line {} column {}",
                self.function,
                error.line(),
                error.column()
            ))
        })
    }

    /// Asks another contract on this channel, within this transaction.
    pub fn ask(
        &mut self,
        chaincode: &str,
        function: &str,
        argument: &impl Serialize,
    ) -> Result<Response, Failure> {
        let args = [
            function.as_bytes().to_vec().into(),
            to_json(argument).into(),
        ];
        Ok(self.stub.invoke(chaincode, &args)?)
    }

    /// The function's name, for messages.
    pub fn function(&self) -> &'static str {
        self.function
    }

    /// The caller's MSP id.
    pub fn msp(&self) -> &str {
        self.stub.creator().msp_id()
    }

    /// The caller's `hc.role`.
    pub fn role(&self) -> Option<&str> {
        self.stub.creator().attribute("hc.role")
    }

    /// The caller's `hc.sid`, for patients and guardians.
    pub fn sid(&self) -> Option<&str> {
        self.stub.creator().attribute("hc.sid")
    }

    /// The contract's configuration, read once.
    pub fn config(&mut self) -> Result<&Config, Failure> {
        if self.config.is_none() {
            self.config = Some(Config::load(self.stub)?);
        }
        // Set two lines above when it was missing.
        Ok(self.config.as_ref().expect("loaded"))
    }

    /// Forgets the configuration read so far, after writing another.
    pub fn set_config(&mut self, config: Config) {
        self.config = Some(config);
    }

    /// A value under a composite key.
    pub fn load<T: DeserializeOwned>(
        &mut self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Option<T>, Failure> {
        let key = composite_key(object_type, attributes)?;
        match self.stub.get_state(&key)? {
            Some(bytes) => decode(object_type, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Whether a composite key has a value.
    pub fn exists(&mut self, object_type: &str, attributes: &[&str]) -> Result<bool, Failure> {
        let key = composite_key(object_type, attributes)?;
        Ok(self.stub.get_state(&key)?.is_some())
    }

    /// Writes a value under a composite key.
    pub fn store(
        &mut self,
        object_type: &str,
        attributes: &[&str],
        value: &impl Serialize,
    ) -> Result<(), Failure> {
        let key = composite_key(object_type, attributes)?;
        Ok(self.stub.put_state(&key, &to_json(value))?)
    }

    /// Writes an index entry: the key is the information.
    pub fn index(&mut self, object_type: &str, attributes: &[&str]) -> Result<(), Failure> {
        let key = composite_key(object_type, attributes)?;
        Ok(self.stub.put_state(&key, &[0])?)
    }

    /// Deletes an index entry.
    pub fn unindex(&mut self, object_type: &str, attributes: &[&str]) -> Result<(), Failure> {
        let key = composite_key(object_type, attributes)?;
        Ok(self.stub.delete_state(&key)?)
    }
}

/// Reads a value that one of our contracts wrote.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(
            500,
            "LEDGER",
            format!("stored {what} does not parse: {error}"),
        )
    })
}

/// The first answer to a request id (R12).
#[derive(Serialize, Deserialize)]
struct Remembered {
    hash: String,
    answer: String,
}

/// Runs the function that the arguments name.
pub(crate) fn dispatch(
    contract: &'static str,
    functions: &'static [Function],
    stub: &mut dyn Stub,
) -> Response {
    match run(contract, functions, stub) {
        Ok(payload) => Response::success(payload),
        Err(failure) => failure.into(),
    }
}

fn run(
    contract: &'static str,
    functions: &'static [Function],
    stub: &mut dyn Stub,
) -> Result<Vec<u8>, Failure> {
    let function = find(contract, functions, stub)?;
    let request_key = match function.effect {
        Effect::Evaluate => None,
        Effect::Submit | Effect::SubmitTransient => {
            check_clock(stub)?;
            request_key(stub)?
        }
    };
    let hash = request_key
        .as_ref()
        .map(|_| argument_hash(stub, function.effect));
    if let (Some(key), Some(hash)) = (&request_key, &hash)
        && let Some(bytes) = stub.get_state(key)?
    {
        let remembered: Remembered = decode("request", &bytes)?;
        if remembered.hash == *hash {
            return Ok(remembered.answer.into_bytes());
        }
        return Err(Failure::conflict(
            "REQUEST_ID_REUSED",
            "this request id was used for other arguments or by another caller",
        ));
    }
    let mut call = Call {
        now: stub.timestamp().seconds,
        stub,
        function: function.name,
        expects: function.expects,
        config: None,
    };
    let outcome = (function.run)(&mut call)?;
    if let Some(event) = &outcome.event {
        let name = format!("{contract}.{}", event.name);
        stub.set_event(&name, &to_json(&event.body))?;
    }
    if let (Some(key), Some(hash)) = (request_key, hash) {
        let remembered = Remembered {
            hash,
            // Our own JSON is UTF-8.
            answer: String::from_utf8_lossy(&outcome.payload).into_owned(),
        };
        stub.put_state(&key, &to_json(&remembered))?;
    }
    Ok(outcome.payload)
}

fn find(
    contract: &'static str,
    functions: &'static [Function],
    stub: &dyn Stub,
) -> Result<&'static Function, Failure> {
    let args = stub.args();
    let names = || {
        let names: Vec<_> = functions.iter().map(|f| f.name).collect();
        names.join(", ")
    };
    let Some(name) = args.first() else {
        return Err(Failure::new(
            400,
            "UNKNOWN_FUNCTION",
            format!("the first argument names the function, one of {}", names()),
        ));
    };
    let Some(function) = functions
        .iter()
        .find(|function| function.name.as_bytes() == name.as_ref())
    else {
        return Err(Failure::new(
            400,
            "UNKNOWN_FUNCTION",
            format!(
                "{contract} has no function '{}', it has {}",
                String::from_utf8_lossy(name)
                    .chars()
                    .take(64)
                    .collect::<String>(),
                names()
            ),
        ));
    };
    if args.len() > 3 {
        return Err(Failure::malformed(format!(
            "{} takes a JSON object and a request id, got {} arguments",
            function.name,
            args.len() - 1
        )));
    }
    Ok(function)
}

fn check_clock(stub: &dyn Stub) -> Result<(), Failure> {
    let Some(local) = stub.endorser_time() else {
        return Ok(());
    };
    let proposed = stub.timestamp().seconds;
    if proposed.abs_diff(local.seconds) > MAX_CLOCK_SKEW_SECONDS.unsigned_abs() {
        return Err(Failure::new(
            400,
            "CLOCK_SKEW",
            format!(
                "the proposal's timestamp is {} s away from the endorser's clock, at most {MAX_CLOCK_SKEW_SECONDS} are allowed",
                proposed.abs_diff(local.seconds)
            ),
        ));
    }
    Ok(())
}

fn request_key(stub: &dyn Stub) -> Result<Option<String>, Failure> {
    let Some(bytes) = stub.args().get(2) else {
        return Ok(None);
    };
    let id = std::str::from_utf8(bytes)
        .map_err(|_| Failure::malformed("the request id is not UTF-8"))?;
    if id.is_empty() || id.chars().count() > MAX_REQUEST_ID_CHARS {
        return Err(Failure::malformed(format!(
            "a request id has 1 to {MAX_REQUEST_ID_CHARS} characters"
        )));
    }
    Ok(Some(composite_key("req", &[stub.creator().msp_id(), id])?))
}

/// Covers function, arguments and caller. The transient map is covered only for functions that
/// take it, all of which insist on a salt in it, so that the hash reveals nothing (§6.1).
fn argument_hash(stub: &dyn Stub, effect: Effect) -> String {
    let mut parts = vec![stub.creator().id().as_bytes()];
    parts.extend(stub.args().iter().take(2).map(|arg| &arg[..]));
    if effect == Effect::SubmitTransient {
        for (name, value) in stub.transient() {
            parts.extend([name.as_bytes(), &value[..]]);
        }
    }
    hash_of(parts)
}
