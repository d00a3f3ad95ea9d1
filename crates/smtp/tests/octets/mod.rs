//! The notation of transcripts for octets on the wire.

use relay_smtp::sasl::base64;

/// `\r \n \t \0 \\ \xNN` are octets, and `{...}` is the base64 of its content.
pub fn octets(text: &str) -> Vec<u8> {
    let Some((before, rest)) = text.split_once('{') else {
        return unescape(text);
    };
    let (within, behind) = rest.split_once('}').expect("a closing brace");
    let within = base64::encode(&unescape(within));
    [unescape(before), within.as_bytes().to_vec(), octets(behind)].concat()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (octet, tail) = match (first, tail) {
            (b'\\', [b'r', tail @ ..]) => (b'\r', tail),
            (b'\\', [b'n', tail @ ..]) => (b'\n', tail),
            (b'\\', [b't', tail @ ..]) => (b'\t', tail),
            (b'\\', [b'0', tail @ ..]) => (0, tail),
            (b'\\', [b'\\', tail @ ..]) => (b'\\', tail),
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("ASCII");
                (u8::from_str_radix(digits, 16).expect(digits), tail)
            }
            (octet, tail) => (*octet, tail),
        };
        octets.push(octet);
        rest = tail;
    }
    octets
}
