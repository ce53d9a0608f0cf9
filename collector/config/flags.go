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
	demoKey string
}

// AddFlags declares the flags of the configuration.
func AddFlags(app *kingpin.Application) *Flags {
	f := &Flags{draft: newDraft()}
	app.Flag("config.file", "File that describes the environments, in place of the flags of a single one.").
		PlaceHolder("<path>").StringVar(&f.File)
	app.Flag("config.check", "Check the configuration and exit.").BoolVar(&f.Check)
	for _, s := range f.draft.settings {
		if s.flag == "" {
			continue
		}
		help := s.help
		if s.variable != "" {
			help += " ($" + s.variable + ")"
		}
		if s.clear != nil {
			s.clear() // The parser sets the default.
			help += " Repeatable"
			if last := len(s.initial) - 1; last > 0 { // The parser would show the first one alone.
				help += "; " + strings.Join(s.initial[:last], ", ") + " and " + s.initial[last] + " by default"
			}
			help += "."
		}
		app.Flag(s.flag, help).Default(s.initial...).PlaceHolder(s.shown).IsSetByUser(&s.given).SetValue(s)
	}
	return f
}

// Demo makes the flags describe the environment of a simulated service with this key,
// unless they are set otherwise.
func (f *Flags) Demo(key string) error {
	if f.File != "" {
		return errors.New("--demo: not together with --config.file; the demo has an environment of its own")
	}
	own := map[string]string{"secret_key_file": "a key", "api_url": "a service"}
	values := map[string]string{"refresh.interval": demoInterval, "name": "demo", "api_url": "http://simulator"}
	for _, s := range f.draft.settings {
		if s.given && own[s.field] != "" {
			return fmt.Errorf("--%s: not together with --demo; the demo has %s of its own", s.flag, own[s.field])
		} else if !s.given && values[s.field] != "" {
			_ = s.set(values[s.field])
		}
	}
	f.demoKey = key
	return nil
}

// Load returns the selected environments, or the first error. Getenv returns
// environment variables, which are trimmed.
func (f *Flags) Load(getenv func(string) string) (environments []Environment, err error) {
	defer func() { err = client.HideKeys(err) }()
	if f.demoKey != "" {
		getenv = func(name string) string { return map[string]string{"TRIGGER_SECRET_KEY": f.demoKey}[name] }
	}
	d, places := f.draft, map[string]string{}
	for _, s := range d.settings {
		place, text, where := "--"+s.flag, f.fromVariable(s, getenv), "an environment or in defaults"
		if text != "" {
			place = s.variable
		}
		if s.own {
			where = "an environment"
		}
		switch {
		// To ignore the URL of a server would send its keys to another one.
		case f.File != "" && (s.given || text != ""):
			return nil, fmt.Errorf("%s: not together with --config.file; set %s there, for %s",
				place, s.field, where)
		case text != "":
			if err := s.set(text); err != nil {
				return nil, fmt.Errorf("%s: %w", place, err)
			}
		}
		places[s.field] = place
	}
	if f.File != "" {
		if environments, err = ReadFile(f.File, getenv); err != nil {
			err = fmt.Errorf("--config.file: %w", err)
		}
		return environments, err
	}
	if len(d.sources) == 0 {
		return nil, errors.New("no secret key: set TRIGGER_SECRET_KEY, " +
			"or name a file with --trigger.secret-key-file (--demo needs none)")
	}
	d.Key.From, d.place = places[d.sources[0]], func(field string) string { return places[field] }
	env, err := d.complete()
	return []Environment{env}, err
}

// fromVariable returns the value of a setting's variable, empty if there is none. A flag takes
// precedence over its variable, a file over a variable with the key.
func (f *Flags) fromVariable(s *setting, getenv func(string) string) string {
	byFile := s.field == "secret_key" && (f.File != "" || f.draft.Key.File != "")
	if s.variable == "" || s.given || byFile {
		return ""
	}
	return strings.TrimSpace(getenv(s.variable))
}

// Parse parses an application's arguments. The error for an unknown flag suggests the
// most similar one.
func Parse(app *kingpin.Application, args []string) (err error) {
	defer func() { err = client.HideKeys(err) }()
	if _, err = app.Parse(args); err == nil {
		return nil
	}
	// The parser's error has no type.
	name, unknown := strings.CutPrefix(err.Error(), "unknown long flag '--")
	name = strings.TrimSuffix(name, "'")
	if !unknown || app.GetFlag(strings.TrimPrefix(name, "no-")) != nil {
		return err
	}
	var known []string
	for _, f := range app.Model().Flags {
		known = append(known, f.Name)
	}
	return fmt.Errorf("--%s: %w", name, notation.Unknown("flag", "--", name, known))
}
