//! The function as Lambda starts it, in the emulator.

use bantam_emulator::{Config, Emulator};

#[test]
fn an_order_has_its_receipt() {
    let config = Config::new(env!("CARGO_BIN_EXE_{{ project_name }}"));
    let emulator = Emulator::start(config).unwrap();
    let event = include_str!("../events/order.json");
    let outcome = emulator.invoke(event).unwrap();
    assert_eq!(outcome.function_error, None);
    let body = String::from_utf8_lossy(&outcome.body);
    assert_eq!(body, r#"{"item":"tea","total":14}"#);
}
