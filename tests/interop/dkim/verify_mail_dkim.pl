#!/usr/bin/perl
# Verifies every signature of every message with Mail::DKIM: verify_mail_dkim.pl RECORDS FILE...
# Versions without Ed25519 call such a signature invalid; it is then counted as not checked.
use strict;
use warnings;
use JSON::PP;
use Mail::DKIM::PublicKey;
use Mail::DKIM::Verifier;

my ($records, @files) = @ARGV;
open my $in, '<', $records or die "$records: $!";
my %value = map { $_->{name} => $_->{value} } @{ decode_json(do { local $/; <$in> }) };
my $knows_ed25519 = eval { require Mail::DKIM::Algorithm::ed25519_sha256; 1 };

{
    no warnings 'redefine';
    *Mail::DKIM::PublicKey::fetch_async = sub {
        my ($class, %of) = @_;
        my $text = $value{"$of{Selector}._domainkey.$of{Domain}"};
        my $key = defined $text ? $class->parse($text) : undef;
        $of{Callbacks}{Success}->($key) if $of{Callbacks}{Success};
        return sub { $key };
    };
}

my ($verified, $unchecked, $failed) = (0, 0, 0);
for my $file (@files) {
    open my $message, '<:raw', $file or die "$file: $!";
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT(do { local $/; <$message> });
    $verifier->CLOSE;
    # A message may also have signatures of other domains.
    my @signatures = grep { $value{ $_->selector . '._domainkey.' . $_->domain } } $verifier->signatures;
    if (@signatures != keys %value) {
        print "$file: ", scalar @signatures, " signatures found\n";
        $failed++;
    }
    for my $signature (@signatures) {
        if ($signature->result eq 'pass') {
            $verified++;
        } elsif ($signature->algorithm =~ /^ed25519/ && !$knows_ed25519) {
            $unchecked++;
        } else {
            print "$file: ", $signature->algorithm, ': ', $signature->result_detail, "\n";
            $failed++;
        }
    }
}
print "$verified signatures verify; $unchecked have an algorithm that this Mail::DKIM does not support\n";
exit($failed || !$verified ? 1 : 0);
