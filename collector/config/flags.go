package config

import (
	"errors"
	"fmt"
	"strings"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/config/notation"

	"github.com/alecthomas/kingpin/v2"
)

// demoInterval is shorter than the default, so that users see changes soon.
const demoInterval = "5s"

// Flags select the environments: those of a file, or the one that the flags describe.
type Flags struct {
	// File is the configuration file. May be empty.
	File string
	// Check is whether to check the configuration and exit.
	Check bool

	draft   *draft
	flags   []*flag
	demoKey string
}

// AddFlags declares the flags of the configuration.
func AddFlags(app *kingpin.Application) *Flags {
	f := &Flags{draft: newDraft("")}
	app.Flag("config.file", "File that describes the environments, in place of the flags of a single one.").
		PlaceHolder("<path>").StringVar(&f.File)
	app.Flag("config.check", "Check the configuration and exit.").BoolVar(&f.Check)
	for _, s := range f.draft.settings {
		if s.flag == "" {
			continue
		}
		if s.clear != nil {
			s.clear() // The parser sets the default.
		}
		help := s.help
		if s.variable != "" {
			help += " ($" + s.variable + ")"
		}
		if s.clear != nil {
			help += " Repeatable" + byDefault(s.initial) + "."
		}
		set := &flag{setting: s}
		app.Flag(s.flag, help).Default(s.initial...).PlaceHolder(s.shown).IsSetByUser(&set.given).SetValue(set)
		f.flags = append(f.flags, set)
	}
	return f
}

// byDefault names the values that a list has by default. The parser would show the first
// one alone.
func byDefault(values []string) string {
	if len(values) == 0 {
		return ""
	}
	last := len(values) - 1
	text := values[last]
	if last > 0 {
		text = strings.Join(values[:last], ", ") + " and " + text
	}
	return "; " + text + " by default"
}

// A flag is a setting as a kingpin.Value.
type flag struct {
	*setting

	given bool
}

// Set implements kingpin.Value.
func (f *flag) Set(text string) error {
	if err := f.set(text); err != nil {
		return fmt.Errorf("--%s: %w", f.flag, err)
	}
	return nil
}

// String implements kingpin.Value.
func (f *flag) String() string { return "" }

// IsCumulative reports whether the flag may be repeated, for kingpin.
func (f *flag) IsCumulative() bool { return f.clear != nil }

// IsBoolFlag reports whether the flag has no value, for kingpin.
func (f *flag) IsBoolFlag() bool { return f.toggle }

// Demo makes the flags describe the environment of a simulated service with this key,
// unless they are set otherwise.
func (f *Flags) Demo(key string) error {
	if f.File != "" {
		return errors.New("--demo: not together with --config.file; the demo has an environment of its own")
	}
	own := map[string]string{"secret_key_file": "a key", "api_url": "a service"}
	for _, s := range f.flags {
		switch {
		case s.given && own[s.field] != "":
			return fmt.Errorf("--%s: not together with --demo; the demo has %s of its own", s.flag, own[s.field])
		case !s.given && s.field == "refresh.interval":
			_ = s.Set(demoInterval)
		case !s.given && s.field == "name":
			_ = s.Set("demo")
		case !s.given && s.field == "api_url":
			_ = s.Set("http://simulator")
		}
	}
	f.demoKey = key
	return nil
}

// Load returns the selected environments, or the first error. Getenv returns
// environment variables, which are trimmed.
func (f *Flags) Load(getenv func(string) string) (environments []Environment, err error) {
	defer func() { err = client.HideKeys(err) }()
	for _, s := range f.flags {
		if f.File != "" && s.given {
			return nil, fmt.Errorf("--%s: not together with --config.file; "+
				"set it there, for an environment or in defaults", s.flag)
		}
	}
	if f.File != "" {
		environments, err := ReadFile(f.File, getenv)
		if err != nil {
			return nil, fmt.Errorf("--config.file: %w", err)
		}
		return environments, nil
	}
	names := map[string]string{}
	for _, s := range f.flags {
		names[s.field] = "--" + s.flag
		text := strings.TrimSpace(getenv(s.variable))
		if s.variable == "" || s.given || text == "" || f.demoKey != "" {
			continue
		}
		names[s.field] = s.variable
		if err := s.set(text); err != nil {
			return nil, fmt.Errorf("%s: %w", s.variable, err)
		}
	}
	d := f.draft
	switch d.Key.From, d.Key.Value = "TRIGGER_SECRET_KEY", getenv("TRIGGER_SECRET_KEY"); {
	case d.Key.File != "":
		d.Key.From, d.Key.Value = "--trigger.secret-key-file", ""
	case f.demoKey != "":
		d.Key.Value = f.demoKey
	case strings.TrimSpace(d.Key.Value) == "":
		return nil, errors.New("no secret key: set TRIGGER_SECRET_KEY, " +
			"or name a file with --trigger.secret-key-file (--demo needs none)")
	}
	name := d.Name
	d.place = func(field string) string { return names[field] }
	env, err := d.complete()
	d.Name = name // complete may have set it from the key, which may change.
	return []Environment{env}, err
}

// Parse parses an application's arguments. The error for an unknown flag suggests the
// most similar one.
func Parse(app *kingpin.Application, args []string) (err error) {
	defer func() { err = client.HideKeys(err) }()
	_, err = app.Parse(args)
	if err == nil {
		return nil
	}
	context, again := app.ParseContext(args)
	if again == nil || context == nil {
		return err
	}
	token, known := context.Peek(), []string{}
	for _, f := range app.Model().Flags {
		known = append(known, f.Name)
	}
	name := token.Value
	if token.Type == kingpin.TokenLong && app.GetFlag(name) == nil &&
		app.GetFlag(strings.TrimPrefix(name, "no-")) == nil {
		return fmt.Errorf("--%s: %w", name, notation.Unknown("flag", "--", name, known))
	}
	return err
}
