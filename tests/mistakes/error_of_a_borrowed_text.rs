//= `text` does not live long enough
//= borrowed for `'static`

fn main() {
    let text = format!("{}", 7);
    let error = bantam::Error::new("Seven", &text);
    drop(error);
}
