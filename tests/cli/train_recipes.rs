//! Recipes of `train` on stdout, and a build that cannot train.

use crate::support::{Sandbox, mock};

#[test]
fn a_printed_recipe_is_one_that_can_be_given() {
    let sandbox = Sandbox::new();
    for name in ["original", "balanced"] {
        let printed = sandbox.run(&["train", "--print-recipe", "--recipe", name]).ok().stdout;
        assert!(printed.contains(&format!("name: {name}\n")) && printed.contains("# share of"), "{printed}");
        sandbox.write("own.yaml", &printed);
        assert_eq!(sandbox.run(&["train", "--print-recipe", "--recipe", "own.yaml"]).ok().stdout, printed);
    }
    sandbox.run(&["train", "--print-recipe", "--recipe", "none"]).fails(64, "VN-USAGE");
    // Without a name it is the one that `train` takes with that bundle.
    for (model, name) in [("mini", "balanced"), (mock().as_str(), "original")] {
        let usual = sandbox.run(&["train", "--print-recipe", "--model", model]).ok().stdout;
        assert!(usual.contains(&format!("\nname: {name}\n")), "{model}: {usual}");
    }
    sandbox.run(&["train", "--print-recipe", "--seed", "-1"]).says(&["a whole number, not below 0"]);
}

#[cfg(not(feature = "torch"))]
#[test]
fn a_build_without_libtorch_says_that_it_cannot_train() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["train", "merged", "--labels", "l.tsv", "--name", "toy", "-o", "toy"]);
    ran.fails(69, "VN-DEVICE-NONE");
    ran.says(&["cannot train", "install the full build"]);
}
