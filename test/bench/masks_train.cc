/*
 * masks_train.cc - a vocabulary like ChatGLM3's, from the text that lies about on a machine.
 *
 * SentencePiece's BPE as ChatGLM3's was made: 64,789 pieces, text left as it is, each digit a
 * piece, bytes for what is in no piece.  The text is documentation, sources and headers, in an
 * order that depends on nothing but their names, and a line or so of Chinese.
 */
#include "masks.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <sentencepiece_trainer.h>

namespace fs = std::filesystem;

static constexpr size_t TEXT_BYTES = size_t(8) << 20; /* of a root */
static constexpr size_t FILE_BYTES = size_t(300) << 10;
static constexpr size_t LINE_BYTES = 4000;

/* Each gives a like share of the text, as far as it has so much. */
static const char *const roots[] = {"/usr/share", "/usr/lib", "/usr/include"};

static const char *const options =
	"--model_type=bpe --vocab_size=64789 --byte_fallback=true --character_coverage=0.9999 "
	"--num_threads=1 --split_digits=true --normalization_rule_name=identity "
	"--remove_extra_whitespaces=false --allow_whitespace_only_pieces=true "
	"--max_sentence_length=8192 --minloglevel=2";

/* Has its name one of the endings of text? */
static bool
is_text(const fs::path &path)
{
	static const char *const endings[] = {".md",  ".rst", ".txt", ".py", ".json", ".html",
										  ".h",	  ".hpp", ".xml", ".pm", ".js",	  ".po",
										  ".sql", ".pl",  ".c",	  ".sh", "",	  ".yaml"};

	return std::find(std::begin(endings), std::end(endings), path.extension().string()) !=
		   std::end(endings);
}

static std::vector<std::string>
find_files(const char *root)
{
	std::vector<std::pair<uint64_t, std::string>> found;
	std::vector<std::string>					  names;
	std::error_code								  ignored;

	for (fs::recursive_directory_iterator at(root, ignored), end; at != end; at.increment(ignored))
		if (!at->is_symlink(ignored) && at->is_regular_file(ignored) && is_text(at->path()) &&
			at->file_size(ignored) <= FILE_BYTES)
		{
			const std::string name = at->path().string();
			uint64_t		  hash = 14695981039346656037u;

			for (unsigned char c : name)
				hash = (hash ^ c) * 1099511628211u;
			found.emplace_back(hash, name);
		}
	std::sort(found.begin(), found.end());
	for (auto &f : found)
		names.push_back(f.second);
	return names;
}

/* Adds the lines of a file that are text, and says how many bytes they have. */
static size_t
add_lines(const std::string &name, std::vector<std::string> &lines)
{
	std::ifstream file(name, std::ios::binary);
	std::string	  line;
	size_t		  bytes = 0;

	while (std::getline(file, line))
		if (!line.empty() && line.size() <= LINE_BYTES && line.find('\0') == std::string::npos &&
			glm_utf8_check(line.data(), line.size()) < 0)
		{
			bytes += line.size();
			lines.push_back(line);
		}
	return bytes;
}

/* All characters from U+4E00 to U+9FA4, each three times. */
static void
add_chinese(std::vector<std::string> &lines)
{
	for (int c = 0x4E00; c < 0x9FA5; c += 20)
	{
		std::string line;

		for (int i = c; i < c + 20; i++)
			for (int times = 0; times < 3; times++)
			{
				const char utf8[] = {char(0xE0 | i >> 12), char(0x80 | (i >> 6 & 63)),
									 char(0x80 | (i & 63)), ' ', '\0'};
				line += utf8;
			}
		lines.push_back(line);
	}
}

class lines_of : public sentencepiece::SentenceIterator
{
  public:
	explicit lines_of(const std::vector<std::string> &lines) : lines_(lines)
	{
	}
	bool
	done() const override
	{
		return at_ >= lines_.size();
	}
	void
	Next() override
	{
		at_++;
	}
	const std::string &
	value() const override
	{
		return lines_[at_];
	}
	sentencepiece::util::Status
	status() const override
	{
		return {};
	}

  private:
	const std::vector<std::string> &lines_;
	size_t							at_ = 0;
};

static void
train(const std::string &path)
{
	std::vector<std::string> lines;
	std::string				 model;

	for (const char *root : roots)
	{
		size_t bytes = 0;

		for (const std::string &name : find_files(root))
			if (bytes < TEXT_BYTES)
				bytes += add_lines(name, lines);
	}
	add_chinese(lines);

	lines_of   sentences(lines);
	const auto status = sentencepiece::SentencePieceTrainer::Train(options, &sentences, &model);

	if (!status.ok())
		throw std::runtime_error(status.ToString());
	std::ofstream(path + ".new", std::ios::binary) << model;
	fs::rename(path + ".new", path);
}

bool
masks_train(const char *path, glm_error *err)
{
	try
	{
		train(path);
		return true;
	}
	catch (const std::exception &e)
	{
		return glm_fail(err, GLM_INTERNAL, "cannot make \"%s\": %s", path, e.what());
	}
}
