# tests/tidy/self_test.py - scripts/tidy finds each planted breach at its line, says nothing else
# about it, and accepts the file that does it right.
import os
import subprocess
import sys
import tempfile

TIDY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "tidy")
HEAD = "// proto/x.c - planted.\n"
TEST = {"tests/proto/x_test.c": "// tests/proto/x_test.c - planted.\n"}
LONG = "static void f(void) {\n" + "    g();\n" * 119 + "}\n"
UNLIKELY = "TO" + "DO"

# name, {path: text}, what must be said (in this order; "" after the path: nothing is)
CASES = [
    ("a clean file", {"proto/x.c": HEAD + "int x;\n"}, []),
    ("no opening", {"proto/x.c": "int x;\n"}, ["proto/x.c:1: error: no opening"]),
    ("another file's opening", {"proto/x.c": "// proto/y.c - moved\n"},
     ["proto/x.c:1: error: no opening"]),
    ("script without opening", {"scripts/y.py": "import os\n"},
     ["scripts/y.py:1: error: no opening"]),
    ("script with opening", {"scripts/y.sh": "#!/bin/sh\n# scripts/y.sh - planted\n"}, []),
    ("strcpy", {"proto/x.c": HEAD + "void f(void) { strcpy(a, b); }\n"},
     ["proto/x.c:2: error: strcpy is banned"]),
    ("snprintf is no sprintf", {"proto/x.c": HEAD + "void f(void) { snprintf(a, 1, \"\"); }\n"}, []),
    ("a name in a comment", {"proto/x.c": HEAD + "// strcpy(a, b) is banned\nint x;\n"}, []),
    ("a name in a text", {"proto/x.c": HEAD + "char x[] = \"strcpy(a)\";\n"}, []),
    ("a slot of that name", {"proto/x.c": HEAD + "void f(void) { ops->system(1); }\n"}, []),
    ("exit in a library", {"proto/x.c": HEAD + "void f(void) { exit(1); }\n"},
     ["proto/x.c:2: error: exit below main"]),
    ("exit in main.c", {"stages/main.c": "// stages/main.c - m\nvoid f(void) { exit(1); }\n"}, []),
    ("printing in a library", {"proto/x.c": HEAD + "void f(void) { printf(\"\"); }\n"},
     ["proto/x.c:2: error: prints below main"]),
    ("stdout in a library", {"proto/x.c": HEAD + "void f(void) { fprintf(stdout, \"\"); }\n"},
     ["proto/x.c:2: error: prints below main"]),
    ("sleep", {"proto/x.c": HEAD + "void f(void) {\n    usleep(1);\n}\n"},
     ["proto/x.c:3: error: usleep stands for an event"]),
    ("include against the arrows", {"proto/x.c": HEAD + "#include \"model/rdt.h\"\n"},
     ["proto/x.c:2: error: proto/ must not include model/"]),
    ("include along the arrows", {"trainer/x.c": "// trainer/x.c - m\n#include \"model/rdt.h\"\n",
                                  "tests/trainer/x_test.c": "// tests/trainer/x_test.c - m\n"}, []),
    ("include without folder", {"proto/x.c": HEAD + "#include \"x.h\"\n"},
     ["proto/x.c:2: error: include of \"x.h\" without its folder"]),
    ("preprocessor decides a device", {"proto/x.c": HEAD + "#ifdef PIPELINE_CUDA\n#endif\n"},
     ["proto/x.c:2: error: a device decided by the preprocessor"]),
    ("backend may ask", {"model/backend.c": "// model/backend.c - m\n#ifdef CUDA\n#endif\n",
                         "tests/model/backend_test.c": "// tests/model/backend_test.c - m\n"}, []),
    ("something left", {"proto/x.c": HEAD + "int x;  // %s\n" % UNLIKELY},
     ["proto/x.c:2: error: something left to do"]),
    ("white space", {"proto/x.c": HEAD + "int x; \n"}, ["proto/x.c:2: error: white space"]),
    ("no line end", {"proto/x.c": HEAD + "int x;"}, ["proto/x.c:2: error: no line end"]),
    ("a tab", {"proto/x.c": HEAD + "int\tx;\n"}, ["proto/x.c:2: error: a tab"]),
    ("path of a machine", {"proto/x.c": HEAD + "// see /ho" "me/me/x\n"},
     ["proto/x.c:2: error: a path of one machine"]),
    ("a long function", {"proto/x.c": HEAD + LONG}, ["proto/x.c:2: error: f has 121 lines"]),
    ("a longish function", {"proto/x.c": HEAD + LONG.replace("    g();\n", "", 49)},
     ["proto/x.c:2: warning: f has 72 lines"]),
    ("a long table is no function",
     {"proto/x.c": HEAD + "int x[] = {\n" + "    1,\n" * 130 + "};\n"}, []),
    ("functions in extern C",
     {"proto/x.cpp": "// proto/x.cpp - m\nextern \"C\" {\n" + LONG + "}\n"},
     ["proto/x.cpp:3: error: f has 121 lines"]),
    ("a long file", {"proto/x.c": HEAD + "int x;\n" * 700}, ["proto/x.c:701: error: 701 lines"]),
    ("a longish file", {"proto/x.c": HEAD + "int x;\n" * 400},
     ["proto/x.c:401: warning: 401 lines"]),
    ("no test", {"loader/y.c": "// loader/y.c - m\n"}, ["loader/y.c:1: error: no test"]),
    ("test of the whole noun", {"loader/y_part.c": "// loader/y_part.c - m\n",
                                "tests/loader/y_test.c": "// tests/loader/y_test.c - m\n"}, []),
    ("test that includes the header", {
        "loader/y.c": "// loader/y.c - m\n",
        "tests/loader/z_test.c": "// tests/loader/z_test.c - m\n#include \"loader/y.h\"\n"}, []),
    ("a broken link", {"README.md": "# A\n[x](docs/y.md)\n"},
     ["README.md:2: error: link to docs/y.md"]),
    ("links that lead somewhere", {"README.md": "# A b\n[x](docs/y.md) [z](#a-b) [w](https://x.y)\n",
                                   "docs/y.md": "[r](../README.md#a-b)\n"}, []),
    ("a broken anchor", {"README.md": "# A\n[x](#b)\n"}, ["README.md:2: error: no heading for #b"]),
    ("links in code are no links", {"README.md": "```\n[x](y)\n```\n"}, []),
]
SLOW_CASES = [
    ("header that needs another", {"proto/y.h": "// proto/y.h - m\nextern size_t y;\n"},
     ["proto/y.h:1: error: does not compile alone"]),
    ("header that compiles", {"proto/y.h": "// proto/y.h - m\nextern int y;\n"}, []),
    ("format", {".clang-format": "BasedOnStyle: LLVM\n", "proto/x.c": HEAD + "int   x;\n"},
     ["proto/x.c:2: error: format differs"]),
]


def findings(files, fast):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, TIDY, "--root", root] + (["--fast"] if fast else []),
                              capture_output=True, text=True)
    if done.stderr:
        raise AssertionError(done.stderr)
    said = [line for line in done.stdout.split("\n") if ": error: " in line or ": warning: " in line]
    errors = any(": error: " in line for line in said)
    if done.returncode != (1 if errors else 0):
        raise AssertionError("exit %d with\n%s" % (done.returncode, done.stdout))
    return said, done.stdout


def main():
    failed = 0
    for fast, cases in ((True, CASES), (False, SLOW_CASES)):
        for name, files, expected in cases:
            tree = dict(TEST, **files) if any(p.startswith("proto/x") for p in files) else files
            said, output = findings(tree, fast)
            if name == "format" and "no clang-format-14 here" in output:
                continue
            good = len(said) == len(expected) and all(
                line.startswith(start) for line, start in zip(said, expected))
            if not good:
                failed += 1
                print("%s:\n  found    %s\n  expected %s" % (name, said, expected))
    print("%d cases, %d failed" % (len(CASES) + len(SLOW_CASES), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
