//! The opening handshake.
use bytes::BytesMut;
use url::Url;
/// What the opening handshake agreed on, and the bytes that came with it.
#[derive(Debug, Default)]
pub(crate) struct Negotiated {
    pub(crate) url: Option<Url>,
    pub(crate) response: Option<http::Response<()>>,
    pub(crate) protocol: String,
    pub(crate) extensions: String,
    pub(crate) read_buf: BytesMut,
}
