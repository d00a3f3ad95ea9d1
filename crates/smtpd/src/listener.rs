//! Sockets that listen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use crate::config::ListenerConfig;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(source))]
pub struct BindError {
    /// The address as it was configured.
    pub address: SocketAddr,
    /// The system's own reason.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another server has this port: stop it, or give the [[listener]] another address"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE, or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        _ => "",
    }
}

/// Opens a listener; `all` tells which other ports are asked for.
///
/// `[::]` takes IPv4 as well, as operators expect, unless `0.0.0.0` has that port to itself;
/// where the system has no IPv6 at all, it takes IPv4 alone.
pub(crate) fn bind(
    config: &ListenerConfig,
    all: &[ListenerConfig],
) -> Result<TcpListener, BindError> {
    let address = config.address;
    let port = address.port();
    // A single IPv4 address does not count: all others would go unheard without a word.
    let all_of_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let has_ipv4_beside = port != 0 && all.iter().any(|other| other.address == all_of_ipv4);
    open(address, has_ipv4_beside).map_err(|source| BindError { address, source })
}

fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let (socket, address) = match Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    ) {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            (
                socket,
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
            )
        }
        made => (made?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restart need not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    // Linux hands it on to each accepted connection, which saves a system call there.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
