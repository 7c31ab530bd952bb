//= `Shape: AsRef<[u8]>` is not satisfied

use bantam::Context;

struct Shape;

fn shape(_: &[u8], _: &Context<'_>) -> Result<Shape, bantam::Error> {
    Ok(Shape)
}

fn main() {
    bantam::main(bantam::raw!(shape))
}
