use bantam::{Context, ResultExt as _};

fn out_of_stock() -> Result<u32, bantam::Error> {
    Err(bantam::Error::new("OutOfStock", "none left"))
}

fn with_anyhow(count: u32, _: &Context<'_>) -> anyhow::Result<u32> {
    Ok(count + out_of_stock()?)
}

fn without(text: String, _: &Context<'_>) -> Result<u32, bantam::Error> {
    let parsed: anyhow::Result<u32> = text.parse().map_err(anyhow::Error::from);
    Ok(parsed.error_type("BadCount")? + "7".parse::<u32>()?)
}

fn main() {
    if std::env::args().len() == 1 {
        bantam::main(bantam::typed!(with_anyhow))
    }
    bantam::main(bantam::typed!(without))
}
