//! The process that opens sockets in a place of the lab; `weir_tests::lab::Peer` starts and moves it.
//!
//! Not here: anything but its start.

fn main() -> std::io::Result<()> {
    weir_tests::lab::peer::serve()
}
