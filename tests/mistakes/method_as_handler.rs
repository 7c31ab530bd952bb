//= attempted to take value of method `order`

struct Orders(u32);

impl Orders {
    fn order(&mut self, count: u32, _: &bantam::Context<'_>) -> Result<u32, bantam::Error> {
        self.0 += count;
        Ok(self.0)
    }
}

fn main() {
    bantam::main(bantam::typed!(Orders(0).order))
}
