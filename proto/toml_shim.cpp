// proto/toml_shim.cpp - toml++ behind the C header. The only file that sees it: no exception leaves
// proto_toml_parse, and what it hands out is plain C memory.
#include <cstddef>
extern "C" {
#include "proto/error.h"  // a C header
}
#include "proto/toml_shim.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <utility>
#include <vector>

namespace {

// A node while texts still grow: offsets instead of pointers.
struct draft {
    proto_toml_node node;
    std::size_t key, text;
};

struct walk {
    std::vector<draft> drafts;
    std::string texts;  // each closed by a NUL; offset 0 is ""
};

// What makes a document unusable though it is TOML.
struct refusal {
    toml::source_position at;
    const char *text;
};

std::size_t keep(walk &out, std::string_view text, toml::source_position at) {
    if (text.empty()) return 0;
    if (text.find('\0') != std::string_view::npos)
        throw refusal{at, "a NUL inside a text, which no option can take"};
    const std::size_t offset = out.texts.size();
    out.texts.append(text);
    out.texts.push_back('\0');
    return offset;
}

bool before(const toml::source_position &a, const toml::source_position &b) {
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

void append(walk &out, const toml::node &value, std::string_view key, toml::source_position at,
            std::uint32_t parent);

// toml++ keeps a table sorted by key; people think in the order of the file.
void append_children(walk &out, const toml::table &table, std::uint32_t number) {
    using entry = std::pair<const toml::key *, const toml::node *>;
    std::vector<entry> entries;
    for (auto &&[key, value] : table) entries.emplace_back(&key, &value);
    std::stable_sort(entries.begin(), entries.end(), [](const entry &a, const entry &b) {
        return before(a.first->source().begin, b.first->source().begin);
    });
    for (const entry &each : entries)
        append(out, *each.second, each.first->str(), each.first->source().begin, number);
}

void fill(walk &out, const toml::node &value, toml::source_position at, draft &mine) {
    if (const auto *text = value.as_string()) {
        mine.node.type = PROTO_TOML_TEXT;
        mine.text = keep(out, text->get(), at);
    } else if (const auto *integer = value.as_integer()) {
        mine.node.type = PROTO_TOML_INTEGER;
        mine.node.integer = integer->get();
    } else if (const auto *real = value.as_floating_point()) {
        mine.node.type = PROTO_TOML_REAL;
        mine.node.real = real->get();
    } else if (const auto *boolean = value.as_boolean()) {
        mine.node.type = PROTO_TOML_BOOLEAN;
        mine.node.boolean = boolean->get();
    } else {
        mine.node.type = PROTO_TOML_TIME;
    }
}

void append(walk &out, const toml::node &value, std::string_view key, toml::source_position at,
            std::uint32_t parent) {
    if (out.drafts.size() >= PROTO_TOML_NODES_MAX) throw refusal{at, "more than 65536 values"};
    const auto number = static_cast<std::uint32_t>(out.drafts.size());
    draft mine = {};
    mine.node.parent = parent;
    mine.node.line = at.line;
    mine.node.column = at.column;
    mine.key = keep(out, key, at);
    const toml::table *table = value.as_table();
    const toml::array *array = value.as_array();
    if (table) {
        mine.node.type = PROTO_TOML_TABLE;
        mine.node.children = static_cast<std::uint32_t>(table->size());
    } else if (array) {
        mine.node.type = PROTO_TOML_ARRAY;
        mine.node.children = static_cast<std::uint32_t>(array->size());
    } else {
        fill(out, value, at, mine);
    }
    out.drafts.push_back(mine);
    if (table) append_children(out, *table, number);
    if (array)
        for (const toml::node &item : *array) append(out, item, {}, item.source().begin, number);
}

// From C++ memory to one block each of nodes and texts.
proto_toml *hand_out(const walk &out) {
    auto *toml = static_cast<proto_toml *>(std::calloc(1, sizeof(proto_toml)));
    if (!toml) throw std::bad_alloc();
    toml->count = static_cast<std::uint32_t>(out.drafts.size());
    toml->nodes =
        static_cast<proto_toml_node *>(std::calloc(out.drafts.size(), sizeof(proto_toml_node)));
    toml->texts = static_cast<char *>(std::malloc(out.texts.size()));
    if (!toml->nodes || !toml->texts) {
        proto_toml_free(&toml);
        throw std::bad_alloc();
    }
    std::memcpy(toml->texts, out.texts.data(), out.texts.size());
    for (std::size_t i = 0; i < out.drafts.size(); i++) {
        toml->nodes[i] = out.drafts[i].node;
        toml->nodes[i].key = toml->texts + out.drafts[i].key;
        toml->nodes[i].text = toml->texts + out.drafts[i].text;
    }
    return toml;
}

}  // namespace

const char *proto_toml_type_name(enum proto_toml_type type) {
    static const char *const names[] = {"a table",       "a list",    "a text", "an integer",
                                        "a real number", "a boolean", "a time"};
    return names[type];
}

bool proto_toml_parse(const char *text, size_t size_bytes, struct proto_toml **toml,
                      struct proto_toml_place *at, struct proto_error *error) {
    *at = proto_toml_place{0, 0};
    if (size_bytes > PROTO_TOML_BYTES_MAX)
        return proto_fail(error, PROTO_USAGE, "%zu bytes, expected at most %u", size_bytes,
                          PROTO_TOML_BYTES_MAX);
    try {
        const toml::table document = toml::parse(std::string_view(text, size_bytes));
        walk out;
        out.texts.push_back('\0');
        append(out, document, {}, toml::source_position{1, 1}, 0);
        *toml = hand_out(out);
        return true;
    } catch (const toml::parse_error &wrong) {
        const auto description = wrong.description();
        *at = proto_toml_place{wrong.source().begin.line, wrong.source().begin.column};
        return proto_fail(error, PROTO_USAGE, "%.*s", static_cast<int>(description.size()),
                          description.data());
    } catch (const refusal &wrong) {
        *at = proto_toml_place{wrong.at.line, wrong.at.column};
        return proto_fail(error, PROTO_USAGE, "%s", wrong.text);
    } catch (const std::bad_alloc &) {
        return proto_fail(error, PROTO_EXHAUSTED, "no memory to read %zu bytes of TOML",
                          size_bytes);
    } catch (...) {
        return proto_fail(error, PROTO_FAILED, "the TOML parser failed in an unknown way");
    }
}

void proto_toml_free(struct proto_toml **toml) {
    if (!toml || !*toml) return;
    std::free((*toml)->nodes);
    std::free((*toml)->texts);
    std::free(*toml);
    *toml = nullptr;
}

char *proto_toml_quote(const char *text, struct proto_error *error) {
    // the longest escape is six bytes for one: \u001b
    std::size_t size_bytes = 0;
    if (!proto_mul(std::strlen(text), 6, &size_bytes) || !proto_add(size_bytes, 3, &size_bytes)) {
        proto_fail(error, PROTO_EXHAUSTED, "a text too long to quote");
        return nullptr;
    }
    auto *quoted = static_cast<char *>(proto_alloc(size_bytes, error));
    if (!quoted) return nullptr;
    char *end = quoted;
    *end++ = '"';
    for (const char *c = text; *c != '\0'; c++) {
        const auto byte = static_cast<unsigned char>(*c);
        if (byte == '"' || byte == '\\') {
            *end++ = '\\';
            *end++ = *c;
        } else if (byte < 0x20 || byte == 0x7f) {
            static const char digits[] = "0123456789abcdef";
            std::memcpy(end, "\\u00", 4);
            end[4] = digits[byte >> 4];
            end[5] = digits[byte & 15];
            end += 6;
        } else {
            *end++ = *c;
        }
    }
    *end++ = '"';
    *end = '\0';
    return quoted;
}

#define VERSION_TEXT(number) #number
#define VERSION(major, minor, patch)                                                               \
    VERSION_TEXT(major) "." VERSION_TEXT(minor) "." VERSION_TEXT(patch)

const char *proto_toml_version(void) {
    return VERSION(TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH);
}
