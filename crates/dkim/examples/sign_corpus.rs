//! Signs all messages of a directory, for other programs to verify: `tests/interop/dkim`.
//!
//! Usage: `sign_corpus DIRECTORY DOMAIN`. Each `DIRECTORY/*.eml` is written to
//! `DIRECTORY/relaxed/*.eml` and `DIRECTORY/simple/*.eml` with an RSA and an Ed25519 signature by
//! new keys. The records of the keys are written to `DIRECTORY/records.json`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use relay_dkim::{
    Algorithm, Canonicalization, Decision, Domain, GeneratedKey, HeaderList, PrivateKey, Record,
    Signer, SigningEntry,
};

/// The size of the pieces in which bodies are written, as if they came from a socket.
const PIECE: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(domain)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sign_corpus FOLDER DOMAIN".into());
    };
    let folder = PathBuf::from(folder);
    let domain: Domain = domain.parse()?;
    let keys = [Algorithm::Rsa, Algorithm::Ed25519]
        .into_iter()
        .map(GeneratedKey::generate)
        .collect::<Result<Vec<_>, _>>()?;
    let records = keys
        .iter()
        .map(|key| Ok(Record::new(key.public(), &domain, &selector(key)?)))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    fs::write(folder.join("records.json"), serde_json::to_vec(&records)?)?;
    for form in [Canonicalization::Relaxed, Canonicalization::Simple] {
        let outcome = folder.join(form.to_string());
        fs::create_dir(&outcome)?;
        let signer = signer(&keys, &domain, form)?;
        for file in fs::read_dir(&folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "eml") {
                let name = path.file_name().ok_or("a file without a name")?;
                fs::write(outcome.join(name), sign(&signer, &path)?)?;
            }
        }
    }
    Ok(())
}

fn selector(key: &GeneratedKey) -> Result<relay_dkim::Selector, relay_dkim::NameError> {
    key.public().algorithm().as_str().parse()
}

fn signer(
    keys: &[GeneratedKey],
    domain: &Domain,
    body: Canonicalization,
) -> Result<Signer, Box<dyn Error>> {
    let entries = keys
        .iter()
        .map(|key| {
            Ok(SigningEntry {
                domain: domain.clone(),
                selector: selector(key)?,
                key: PrivateKey::from_pem(key.pem().as_bytes())?,
                subdomains: false,
                headers: HeaderList::default(),
                body,
                expire: None,
            })
        })
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    Ok(Signer::new(entries)?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "verifiers compare with the time of day"
)]
fn sign(signer: &Signer, path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let message = fs::read(path)?;
    let body = memchr::memmem::find(&message, b"\r\n\r\n").map_or(message.len(), |end| end + 4);
    let Decision::Sign(mut signing) = signer.decide(&message[..body]) else {
        return Err(format!("{} is not the domain's", path.display()).into());
    };
    for piece in message[body..].chunks(PIECE) {
        signing.write(piece);
    }
    let mut whole = signing.finish(SystemTime::now())?;
    whole.extend_from_slice(&message);
    Ok(whole)
}
